//! The algorithms that a key may list, and what they verify with.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use secrecy::{ExposeSecret, SecretString};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// What kind of key an algorithm needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Secret,
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Algorithm {
    pub const ALL: [(Self, &'static str); 12] = [
        (Self::Hs256, "HS256"),
        (Self::Hs384, "HS384"),
        (Self::Hs512, "HS512"),
        (Self::Rs256, "RS256"),
        (Self::Rs384, "RS384"),
        (Self::Rs512, "RS512"),
        (Self::Ps256, "PS256"),
        (Self::Ps384, "PS384"),
        (Self::Ps512, "PS512"),
        (Self::Es256, "ES256"),
        (Self::Es384, "ES384"),
        (Self::EdDsa, "EdDSA"),
    ];

    /// There is no `none`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(algorithm, _)| *algorithm)
    }

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }

    pub fn family(self) -> Family {
        match self {
            Self::Hs256 | Self::Hs384 | Self::Hs512 => Family::Secret,
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => Family::Rsa,
            Self::Es256 => Family::P256,
            Self::Es384 => Family::P384,
            Self::EdDsa => Family::Ed25519,
        }
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }

    fn asymmetric(self) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match self {
            Self::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::EdDsa => &signature::ED25519,
            _ => self.rsa()?,
        })
    }
}

/// Whether `mac` is what the shared secret makes of `message`. Constant time.
pub(super) fn is_mac(algorithm: Algorithm, secret: &SecretString, message: &[u8], mac: &[u8]) -> bool {
    let hash = match algorithm {
        Algorithm::Hs256 => hmac::HMAC_SHA256,
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        Algorithm::Hs512 => hmac::HMAC_SHA512,
        _ => return false,
    };
    // The text itself is the secret, also where it looks like base64 of something.
    let key = hmac::Key::new(hash, secret.expose_secret().as_bytes());
    hmac::verify(&key, message, mac).is_ok()
}

/// A public key, from PEM or from a JWK.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub(super) family: Family,
    pub(super) form: Form,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// SubjectPublicKeyInfo, a point, or the 32 bytes of an Edwards key: the provider reads all of them.
    Encoded(Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("family", &self.family).finish_non_exhaustive()
    }
}

/// Object identifiers of the keys that we take, as they stand in SubjectPublicKeyInfo.
const KINDS: [(&[u8], Family); 4] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01], Family::Rsa),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], Family::P256),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], Family::P384),
    (&[0x2b, 0x65, 0x70], Family::Ed25519),
];
/// The identifier stands near the start; further on there is only the key.
const KIND_WITHIN: usize = 40;

impl PublicKey {
    /// A PEM block `PUBLIC KEY`, or `RSA PUBLIC KEY`.
    pub fn from_pem(pem: &str) -> Result<Self, &'static str> {
        const RIGHT: &str = "a public key in PEM begins with -----BEGIN PUBLIC KEY-----";
        let (_, rest) = pem.split_once("-----BEGIN ").ok_or(RIGHT)?;
        let (label, rest) = rest.split_once("-----").ok_or(RIGHT)?;
        let (body, _) = rest.split_once("-----END ").ok_or(RIGHT)?;
        let base64: String = body.chars().filter(|c| !c.is_whitespace()).collect();
        use base64::Engine as _;
        let der = base64::engine::general_purpose::STANDARD.decode(base64).map_err(|_| RIGHT)?;
        let family = match label {
            "RSA PUBLIC KEY" => Family::Rsa,
            "PUBLIC KEY" => {
                let head = &der[..der.len().min(KIND_WITHIN)];
                let has = |oid: &[u8]| head.windows(oid.len()).any(|window| window == oid);
                let known = KINDS.iter().find(|(oid, _)| has(oid)).map(|(_, family)| *family);
                known.ok_or("the public key is none of RSA, P-256, P-384 and Ed25519")?
            }
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
                return Err("this is a private key: only its public half belongs here");
            }
            _ => return Err(RIGHT),
        };
        Ok(Self { family, form: Form::Encoded(der) })
    }

    pub fn family(&self) -> Family {
        self.family
    }

    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if algorithm.family() != self.family {
            return false;
        }
        match &self.form {
            Form::Encoded(bytes) => algorithm.asymmetric().is_some_and(|verify| {
                UnparsedPublicKey::new(verify, bytes).verify(message, signature).is_ok()
            }),
            Form::Rsa { n, e } => algorithm
                .rsa()
                .is_some_and(|rsa| RsaPublicKeyComponents { n, e }.verify(rsa, message, signature).is_ok()),
        }
    }
}
