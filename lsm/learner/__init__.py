"""The method: encoder, network, meta-training and adaptation."""
