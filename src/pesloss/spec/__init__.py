"""What the files of config/ may say."""
