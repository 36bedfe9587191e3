"""From a trained model and images to masks, probability and uncertainty."""
