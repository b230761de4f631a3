"""Lightning callbacks for training, such as weight averaging, gradient clipping and curves."""
