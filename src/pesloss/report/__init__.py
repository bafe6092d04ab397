"""What people read: tables, figures, the guide, the page."""
