"""The generated data and the experiment file of `stepstone demo`. Begin with `demo`; imports the small model alone."""
