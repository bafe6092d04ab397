"""Speed of trainings, quality of estimators and intervals."""
