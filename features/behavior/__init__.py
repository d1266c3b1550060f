"""What people did, as numbers: feature definitions, the catalogue and its renderers."""
