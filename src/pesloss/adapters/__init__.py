"""The losses inside the trainers people use; a module imports its trainer."""
