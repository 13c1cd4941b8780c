"""Topics: the classifiers of text and pictures, their training and their calibration."""
