//! Compact JSON (transforms.md rule 38).
