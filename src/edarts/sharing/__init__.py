"""What leaves the run folder: the scikit-learn estimator, the Hugging Face hub, the model card."""
