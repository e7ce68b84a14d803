"""Files of any directory: bounded ones in, whole ones out, strict JSON, CSV, format versions."""
