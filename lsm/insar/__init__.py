"""InSAR points: how they are read, which of them become weak landslide labels, and with which factors."""
