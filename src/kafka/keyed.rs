//! Which partition a record with a key goes to, so that who looks for it need not read them all.

use super::client::ClientSettings;
use flate2::Crc;

/// librdkafka's own way, `consistent_random`: CRC-32 of the key, modulo partitions. An empty key goes anywhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByKey;

impl ByKey {
    /// `None` if the user's properties choose another way.
    pub(super) fn of(settings: &ClientSettings) -> Option<Self> {
        let other = |(name, value): &&(String, String)| {
            name == "partitioner" && !matches!(value.as_str(), "consistent" | "consistent_random")
        };
        settings.properties.iter().find(other).is_none().then_some(Self)
    }

    /// The partition of a key; `None` if it may be any.
    pub(super) fn partition(self, key: &[u8], partitions: i32) -> Option<i32> {
        let mut crc = Crc::new();
        crc.update(key);
        let count = u32::try_from(partitions).ok().filter(|count| *count > 0 && !key.is_empty())?;
        i32::try_from(crc.sum() % count).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_producer_does_it() {
        // CRC-32 of "123456789" is 0xcbf43926 (the usual check value): 3421780262 % 12 = 2.
        assert_eq!(ByKey.partition(b"123456789", 12), Some(2));
        assert_eq!(ByKey.partition(b"", 12), None);
        assert_eq!(ByKey.partition(b"x", 0), None);
        let mut settings = ClientSettings::new("k:1");
        assert!(ByKey::of(&settings).is_some());
        settings.properties.push(("partitioner".to_owned(), "murmur2_random".to_owned()));
        assert!(ByKey::of(&settings).is_none());
    }
}
