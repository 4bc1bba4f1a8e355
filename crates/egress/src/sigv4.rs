//! AWS's signature, version 4, for a POST without a query. Written out, because it is three hashes and
//! a date, and the usual crate brings two dozen others, among them a second SHA-256 and HMAC.

use aws_lc_rs::{digest, hmac};
use fanfare_model::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use crate::hex::hex;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

pub(crate) struct Signer {
    pub(crate) access_key_id: Box<str>,
    pub(crate) secret_access_key: SecretString,
    pub(crate) region: Box<str>,
    pub(crate) service: &'static str,
}

impl Signer {
    /// The value of the authorization header. `headers` are all that are sent and signed: names in
    /// lower case, in their order.
    pub(crate) fn authorization(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        now: Timestamp,
    ) -> String {
        debug_assert!(headers.is_sorted_by_key(|(name, _)| *name));
        let time = amz_date(now);
        let date = &time[..8];
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let request = format!("POST\n{path}\n\n{lines}\n{names}\n{}", sha256(body));
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{}", sha256(request.as_bytes()));
        let signature = hex(mac(self.key(date).as_ref(), &to_sign).as_ref());
        let id = &self.access_key_id;
        format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }

    fn key(&self, date: &str) -> hmac::Tag {
        let secret = format!("AWS4{}", self.secret_access_key.expose_secret());
        let for_date = mac(secret.as_bytes(), date);
        let for_region = mac(for_date.as_ref(), &self.region);
        let for_service = mac(for_region.as_ref(), self.service);
        mac(for_service.as_ref(), "aws4_request")
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// `20150830T123600Z`.
pub(crate) fn amz_date(now: Timestamp) -> String {
    let seconds = now.0.div_euclid(1_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{:02}Z", second % 60)
}

/// The date of a day since 1970, in the Gregorian calendar: years begin in March, so that the day that
/// comes and goes is the last one.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's own example: a POST with nothing in it.
    #[test]
    fn the_published_example() {
        let signer = Signer {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: SecretString::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            region: "us-east-1".into(),
            service: "service",
        };
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        assert_eq!(
            signer.authorization("/", &headers, b"", Timestamp(1_440_938_160_000)),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
    }

    #[test]
    fn dates() {
        for (seconds, date) in [
            (0, "19700101T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_709_164_800, "20240229T000000Z"),
            (4_107_542_399, "21000228T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
            (1_735_689_599, "20241231T235959Z"),
        ] {
            assert_eq!(amz_date(Timestamp(seconds * 1_000)), date);
        }
    }
}
