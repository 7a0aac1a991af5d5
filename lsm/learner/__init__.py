"""The method: encoder, network, tasks, meta-training, adaptation of every block, prediction of every cell."""
