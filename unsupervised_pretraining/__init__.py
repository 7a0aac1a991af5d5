"""Stage 1: DAS_pretraining.py runs it; rbm.py and denoising_autoencoder.py are its layers, stack.py trains them."""
