"""Tests; a package, because one that a dependency installs has the same name."""
