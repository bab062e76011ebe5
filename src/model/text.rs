//! `Text`: a string that may be a secret.

use secrecy::SecretString;

/// A string from a connection or destination. It is secret when a `${env:…}` or `${file:…}` reference had a part in
/// it, or when its key always holds a secret. Only `destinations::{auth, sign}`, the Kafka settings and the sources
/// may reveal a secret; everything else sees `***`.
#[derive(Debug, Clone)]
pub enum Text {
    /// Written as it stands in the file.
    Plain(String),
    /// Came from a reference, or stands where a secret belongs.
    Secret(SecretString),
}

impl Text {
    /// What people may see: the text, or `***`.
    #[must_use]
    pub fn masked(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(_) => "***",
        }
    }
}

/// Shows the text of fixed parameters: `destinations::auth` reveals, `explain` masks. Rendering takes one of them, so
/// that no secret passes through code that does not send it.
pub trait ShowText {
    /// The text to put into the request.
    fn show<'a>(&self, text: &'a Text) -> &'a str;
}

/// Shows `***` for every secret.
#[derive(Debug, Clone, Copy)]
pub struct Masked;

impl ShowText for Masked {
    fn show<'a>(&self, text: &'a Text) -> &'a str {
        text.masked()
    }
}
