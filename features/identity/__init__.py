"""Who is who at a moment: namespaces, links, components and linking rules."""
