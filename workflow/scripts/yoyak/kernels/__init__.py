"""The fused decoder layers behind one door."""
