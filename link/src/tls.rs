//! TLS for administration: the server's certificate, and the client that knows it again. And TLS to other people's servers.
//!
//! ```text
//! server   one's own certificate and key, or tls.crt and tls.key of the data folder, made at the first start
//! client   first call: told the fingerprint, keeps it ─► later calls: the same, or no connection (as SSH does)
//! ```
//!
//! A client here checks the fingerprint and nothing else: there is no authority that would know a site's servers. Other people's
//! servers are vouched for as everywhere: by the operating system's authorities, or by one of one's own.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use protocols::administration::{EXPORTER_BYTES, EXPORTER_LABEL};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore, ServerConfig, SignatureScheme,
};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Name of the certificate in a data folder.
pub const CERTIFICATE_NAME: &str = "tls.crt";
/// Name of its key.
pub const KEY_NAME: &str = "tls.key";

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// A file is no certificate or key.
    #[error("{path}: {why}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Another's server cannot be called, or nobody vouches for it.
    #[error("TLS failed: {0}")]
    Unvouched(String),
    /// Key and certificate cannot be used.
    #[error("the TLS certificate cannot be used: {0}")]
    Unusable(String),
}

/// What a server shows.
#[derive(Debug, Clone)]
pub struct Identity {
    /// For the acceptor.
    pub config: Arc<ServerConfig>,
    /// What clients know it by.
    pub fingerprint: Fingerprint,
}

/// SHA-256 of a certificate, written as 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
        let hash = suite.expect("it is a suite of TLS 1.3").common.hash_provider.hash(certificate);
        let digit =
            |nibble: u8| char::from_digit(nibble.into(), 16).expect("a nibble is a hexadecimal digit");
        Self(hash.as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
    }

    /// Reads one as a person types it: with or without colons, in either case. `None`: it is none.
    pub fn read(text: &str) -> Option<Self> {
        let digits: String =
            text.trim().chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
        (digits.len() == 64 && digits.chars().all(|c| c.is_ascii_hexdigit())).then_some(Self(digits))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Reads one's own certificate (with its chain) and key.
pub fn load(certificate: &Path, key: &Path) -> Result<Identity, TlsError> {
    let read = |path: &Path| fs::read(path).map_err(|error| TlsError::Io { path: path.to_owned(), error });
    let malformed = |path: &Path, why: String| TlsError::Malformed { path: path.to_owned(), why };
    let pem = read(certificate)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(certificate, error.to_string()))?;
    let Some(first) = chain.first() else {
        return Err(malformed(certificate, "there is no certificate in it (PEM is wanted)".to_owned()));
    };
    let fingerprint = Fingerprint::of(first);
    let pem = read(key)?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| malformed(key, error.to_string()))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| TlsError::Unusable(error.to_string()))?;
    Ok(Identity { config: Arc::new(config), fingerprint })
}

/// The certificate and key of a data folder, which is made where missing; made for `names` (names and addresses) where there are none.
pub fn load_or_make(folder: &Path, names: Vec<String>) -> Result<Identity, TlsError> {
    let (certificate, key) = (folder.join(CERTIFICATE_NAME), folder.join(KEY_NAME));
    fs::create_dir_all(folder).map_err(|error| TlsError::Io { path: folder.to_owned(), error })?;
    if !certificate.exists() || !key.exists() {
        make(&certificate, &key, names)?;
    }
    load(&certificate, &key)
}

fn make(certificate: &Path, key: &Path, names: Vec<String>) -> Result<(), TlsError> {
    let unusable = |error: rcgen::Error| TlsError::Unusable(error.to_string());
    let pair = KeyPair::generate().map_err(unusable)?;
    let mut params = CertificateParams::new(names).map_err(unusable)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "Masthead");
    params.distinguished_name = name;
    // It is known by its fingerprint; a date would only make it stop one day. RFC 5280, section 4.1.2.5: no well-defined end.
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    let signed = params.self_signed(&pair).map_err(unusable)?;
    // The key first: a certificate without its key would be made anew, with another fingerprint.
    write(key, 0o600, &pair.serialize_pem())?;
    write(certificate, 0o644, &signed.pem())
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), TlsError> {
    let io = |error| TlsError::Io { path: path.to_owned(), error };
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
}

/// Calls a server by TLS 1.3 whatever its certificate is, and tells which it was: whoever calls decides whether to go on,
/// before it says anything.
pub async fn connect(stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Fingerprint)> {
    let seen = Arc::new(Witness { provider: provider(), seen: Mutex::default() });
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&seen) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let name = ServerName::IpAddress(stream.peer_addr()?.ip().into());
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let seen = seen.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    let fingerprint = seen.ok_or_else(|| io::Error::other("the server showed no certificate"))?;
    Ok((stream, fingerprint))
}

/// Calls somebody else's server called `host` by TLS. It has to be vouched for by one of the operating system's authorities,
/// or, where `authority` names a file (PEM), by one of those in it and no other.
pub async fn connect_vouched(
    stream: TcpStream,
    host: &str,
    authority: Option<PathBuf>,
) -> Result<TlsStream<TcpStream>, TlsError> {
    let unusable = |error: String| TlsError::Unvouched(error);
    // The operating system has many files.
    let roots = tokio::task::spawn_blocking(move || roots(authority.as_deref()));
    let roots = roots.await.map_err(|error| unusable(error.to_string()))??;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| unusable(error.to_string()))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|error| unusable(error.to_string()))
}

fn roots(authority: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = authority else {
        // What of the system's cannot be read vouches for nobody; the handshake then says so.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let malformed = |why: String| TlsError::Malformed { path: path.to_owned(), why };
    let pem = fs::read(path).map_err(|error| TlsError::Io { path: path.to_owned(), error })?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| malformed(error.to_string()))?;
        roots.add(certificate).map_err(|error| malformed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(malformed("there is no certificate in it (PEM is wanted)".to_owned()));
    }
    Ok(roots)
}

/// Bytes that both ends of a connection know and nobody else (RFC 8446, section 7.5). `None` before TLS 1.3, whose exporter does
/// not bind what RFC 9266 asks for.
pub fn exporter<D>(connection: &rustls::ConnectionCommon<D>) -> Option<[u8; EXPORTER_BYTES]> {
    if connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
        return None;
    }
    connection.export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None).ok()
}

/// Remembers the certificate that was shown; that its owner has the key is checked as ever.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Fingerprint>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Fingerprint::of(certificate));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    #[tokio::test]
    async fn a_certificate_is_made_once_and_known_again_and_both_ends_export_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let names = || vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let folder = folder.path().join("not there yet");
        let identity = load_or_make(&folder, names()).unwrap();
        assert_eq!(load_or_make(&folder, names()).unwrap().fingerprint, identity.fingerprint);
        let mode = fs::metadata(folder.join(KEY_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.config));
        let server = tokio::spawn(async move {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            exporter(stream.get_ref().1).unwrap()
        });
        let (stream, seen) = connect(TcpStream::connect(address).await.unwrap()).await.unwrap();
        assert_eq!(seen, identity.fingerprint);
        assert_eq!(exporter(stream.get_ref().1).unwrap(), server.await.unwrap());
    }

    #[tokio::test]
    async fn a_strangers_server_needs_an_authority_that_vouches_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let identity = load_or_make(folder.path(), vec!["localhost".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.config));
        tokio::spawn(async move {
            loop {
                let _ = acceptor.accept(listener.accept().await.unwrap().0).await;
            }
        });
        let call = async |host: &str, authority: Option<PathBuf>| {
            let called = connect_vouched(TcpStream::connect(address).await.unwrap(), host, authority).await;
            called.map(drop).map_err(|error| error.to_string())
        };
        let ours = folder.path().join(CERTIFICATE_NAME);
        assert_eq!(call("localhost", Some(ours.clone())).await, Ok(()));
        for (host, authority) in [("localhost", None), ("other", Some(ours))] {
            assert!(call(host, authority).await.unwrap_err().starts_with("TLS failed: "), "{host}");
        }
        let told = call("localhost", Some(folder.path().join("no.pem"))).await.unwrap_err();
        assert!(told.contains("no.pem: No such file"), "{told}");
        let told = call("localhost", Some(folder.path().join(KEY_NAME))).await.unwrap_err();
        assert!(told.contains("no certificate in it"), "{told}");
    }

    #[test]
    fn fingerprints_are_read_as_people_write_them() {
        let digits = "ab".repeat(32);
        let with_colons = vec!["AB"; 32].join(":");
        assert_eq!(Fingerprint::read(&with_colons).unwrap().to_string(), digits);
        assert!(Fingerprint::read("ab").is_none() && Fingerprint::read(&"zz".repeat(32)).is_none());
    }

    #[test]
    fn files_that_are_no_certificate_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&certificate, "hello").unwrap();
        let error = load(&certificate, &key).unwrap_err().to_string();
        assert!(error.contains("no certificate in it"), "{error}");
    }
}
