"""From features to a registered model: dataset, split, booster, calibration, evaluation, bundle."""
