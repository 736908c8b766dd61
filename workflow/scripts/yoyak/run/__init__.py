"""Where things are written, and where they came from: workspace, provenance, devices."""
