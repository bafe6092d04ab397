"""Datasets: what they are made of, how they are generated, stored and split."""
