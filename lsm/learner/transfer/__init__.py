"""A start from elsewhere: intermediate models that were meta-trained on other areas."""
