//! Reading JSON without parsing it whole. Pure: bytes in, borrowed pieces out.
//!
//! [`scan`] checks a text once, from end to end; after that [`value::Json`] walks it without checking again.
//! [`document`] is the object that patterns and transforms read, [`path`] finds an [`item`] in it, [`mod@write`] makes
//! compact JSON, [`node`] turns JSON into what people write. Numbers keep their spelling, keys and strings are compared
//! after decoding escapes.

pub mod document;
pub mod item;
pub mod node;
pub mod number;
pub mod path;
pub mod scan;
pub mod tape;
pub mod value;
pub mod write;
