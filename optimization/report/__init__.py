"""metrics.json, report.html and the pictures of a tuning study."""
