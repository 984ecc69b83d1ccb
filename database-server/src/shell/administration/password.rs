//! Passwords: hashed by argon2id, on threads that may block, a few at a time.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use link::random;
use protocols::administration::{Failure, Secret};
use tokio::sync::Semaphore;

/// Hashes at a time: each takes [`MEMORY_KIB`] and a processor for some 20 ms.
const AT_A_TIME: usize = 2;
/// Hashes that may wait; one more is refused as busy.
const MAX_WAITING: usize = 64;
/// Memory of one hash (OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, 2 passes, 1 lane).
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes.
const PASSES: u32 = 2;
/// Verified in the place of an unknown account's hash, so that it takes as long.
const NOBODY: &str = "nobody has this password, and nobody can log in by it";

/// Hashes and verifies.
#[derive(Debug)]
pub(super) struct Hasher {
    places: Semaphore,
    waiting: Semaphore,
    nobody: String,
}

impl Hasher {
    /// Takes a moment: one hash is made.
    pub(super) fn new() -> Result<Self, String> {
        let nobody = hash(NOBODY)?;
        Ok(Self { places: Semaphore::new(AT_A_TIME), waiting: Semaphore::new(MAX_WAITING), nobody })
    }

    /// The PHC string of a password.
    pub(super) async fn hash(&self, password: Secret) -> Result<String, Failure> {
        self.blocking(move || hash(&password.0)).await?.map_err(Failure::Unavailable)
    }

    /// Whether the password belongs to the hash; as long whether there is one or not.
    pub(super) async fn verify(&self, password: Secret, known: Option<String>) -> Result<bool, Failure> {
        let (exists, against) = (known.is_some(), known.unwrap_or_else(|| self.nobody.clone()));
        let verified = self.blocking(move || {
            PasswordHash::new(&against).is_ok_and(|hash| {
                context().is_ok_and(|argon| argon.verify_password(password.0.as_bytes(), &hash).is_ok())
            })
        });
        Ok(verified.await? && exists)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let busy = || Failure::Unavailable("too many log in at once: try again in a second".to_owned());
        let _waiting = self.waiting.try_acquire().map_err(|_| busy())?;
        let _place = self.places.acquire().await.map_err(|_| busy())?;
        tokio::task::spawn_blocking(work).await.map_err(|_| busy())
    }
}

fn context() -> Result<Argon2<'static>, String> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|error| error.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str) -> Result<String, String> {
    let hashed = context()?.hash_password_with_salt(password.as_bytes(), &random::salt());
    hashed.map(|hash| hash.to_string()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_is_known_and_no_other() {
        let hasher = Hasher::new().unwrap();
        let secret = |text: &str| Secret(text.to_owned());
        let hash = hasher.hash(secret("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hasher.verify(secret("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify(secret("correct house"), Some(hash)).await.unwrap());
        assert!(!hasher.verify(secret(NOBODY), None).await.unwrap(), "an unknown account has no password");
    }
}
