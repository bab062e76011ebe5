//! Paths: RFC 9535 `JSONPath` and its dialect (transforms.md rule 39).
