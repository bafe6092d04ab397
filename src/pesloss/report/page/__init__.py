"""The report as pages that open without a network, made from tables and figures alone."""
