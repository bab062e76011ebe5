//! Numbers compared exactly, as spelled (event-patterns.md rule 13).
