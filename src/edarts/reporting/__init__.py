"""What people read: tables, plots, pages and drawings, and the statistics in them."""
