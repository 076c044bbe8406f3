"""What is isotropy? Moments, scores, their null values, neighbours, the partition function."""
