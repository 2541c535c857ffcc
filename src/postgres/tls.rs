//! TLS for both clients from one setting, as libpq understands its modes.
//!
//! Two places where `pgwire-replication` 0.5 is stricter than libpq: with `verify-ca` it wants the name to fit, too, and with
//! `verify-full` it takes no bare address. Both fail closed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::edges::Failure;

/// Where systems keep the certificates they trust, for the client that takes a path only.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/// What is asked of the connection, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TlsMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl TlsMode {
    /// Reads `sslmode`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "disable" => Self::Disable,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }
}

/// How a connection is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsSettings {
    pub mode: TlsMode,
    /// A PEM file; the system's certificates when `None`.
    pub root: Option<PathBuf>,
}

impl TlsSettings {
    /// For `tokio-postgres`; `None` when TLS is not wanted.
    pub fn for_queries(&self) -> Result<Option<MakeRustlsConnect>, Failure> {
        if self.mode == TlsMode::Disable {
            return Ok(None);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::fatal("failed to set up TLS").with_source(error))?;
        let config = match self.mode {
            TlsMode::VerifyFull => builder.with_root_certificates(self.roots()?).with_no_client_auth(),
            mode => {
                let chain = match mode {
                    TlsMode::VerifyCa => Some(
                        WebPkiServerVerifier::builder_with_provider(Arc::new(self.roots()?), Arc::clone(&provider))
                            .build()
                            .map_err(|error| Failure::fatal("failed to set up TLS").with_source(error))?,
                    ),
                    _ => None,
                };
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(AnyName { chain, provider }))
                    .with_no_client_auth()
            }
        };
        Ok(Some(MakeRustlsConnect::new(config)))
    }

    /// For `pgwire-replication`.
    pub fn for_replication(&self) -> pgwire_replication::TlsConfig {
        use pgwire_replication::SslMode;
        pgwire_replication::TlsConfig {
            mode: match self.mode {
                TlsMode::Disable => SslMode::Disable,
                TlsMode::Prefer => SslMode::Prefer,
                TlsMode::Require => SslMode::Require,
                TlsMode::VerifyCa => SslMode::VerifyCa,
                TlsMode::VerifyFull => SslMode::VerifyFull,
            },
            // Without a path it would trust Mozilla's list, where the other client trusts the system's.
            ca_pem_path: self.root.clone().or_else(system_bundle),
            ..Default::default()
        }
    }

    fn roots(&self) -> Result<RootCertStore, Failure> {
        let mut roots = RootCertStore::empty();
        match &self.root {
            Some(path) => {
                let unreadable = |error: rustls::pki_types::pem::Error| {
                    Failure::fatal(format!("failed to read the certificates in {}", path.display()))
                        .with_advice("sslrootcert names a PEM file with the certificate of whoever signed the server's")
                        .with_source(error)
                };
                for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                    roots.add(certificate.map_err(unreadable)?).map_err(|error| {
                        Failure::fatal(format!("failed to use a certificate in {}", path.display())).with_source(error)
                    })?;
                }
            }
            None => {
                // Some of a system's certificates may be unreadable; what matters is whether one of the rest fits.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err(Failure::fatal("failed to verify the source's certificate: no trusted certificate was found")
                .with_advice("set sslrootcert to a PEM file"));
        }
        Ok(roots)
    }
}

fn system_bundle() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.into_iter().chain(SYSTEM_BUNDLES.iter().map(PathBuf::from)).find(|path| Path::is_file(path))
}

/// Accepts any name (`verify-ca`), and without `chain` any certificate (`prefer`, `require`): that is what those modes
/// promise.
#[derive(Debug)]
struct AnyName {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        // The chain is verified before the name.
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
