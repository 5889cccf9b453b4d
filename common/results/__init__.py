"""Records of runs, and everything computed from them: claims, tables, figures."""
