"""Lesions in masks: components, labelling, distance, features, change between visits. Uses no room."""
