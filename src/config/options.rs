//! Files of certificates that a command's options name: read as those of a routes file are, and refused in the same words.

use rustls::pki_types::TrustAnchor;

use super::destination::certificates::{
    ClientCertificate, Unusable, certificates, client_certificate, private_key, roots,
};

/// The roots in the PEM file that `option` names; at least one.
///
/// # Errors
/// What is wrong with the file, and what would be right; nothing of what stands in it.
pub fn option_roots(option: &str, pem: &[u8]) -> Result<Vec<TrustAnchor<'static>>, String> {
    let help = "it is the CA's certificate, or several, that begin with `-----BEGIN CERTIFICATE-----`";
    roots(option, pem).map_err(|Unusable { message, .. }| format!("{message}: {help}"))
}

/// A certificate, leaf first, and its private key: the PEM files that these two options name.
///
/// # Errors
/// What is wrong with either, or with both together, and what would be right; nothing of what stands in them.
pub fn option_certificate(options: (&str, &str), cert: &[u8], key: &[u8]) -> Result<ClientCertificate, String> {
    let worded = |unusable: Unusable| worded(&unusable, options);
    let chain = certificates("cert", cert).map_err(worded)?;
    let key = private_key("key", key).map_err(worded)?;
    client_certificate(chain, key).map_err(|(_part, unusable)| worded(unusable))
}

/// A routes file says `cert` and `key`.
fn worded(Unusable { message, help }: &Unusable, (cert, key): (&str, &str)) -> String {
    format!("{message}: {help}").replace("`cert`", &format!("`{cert}`")).replace("`key`", &format!("`{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_said_of_its_option_and_quotes_nothing_of_it() {
        let pair = || rcgen::generate_simple_self_signed(["shop".to_owned()]).unwrap();
        let (pair, other) = (pair(), pair());
        let (cert, key, foreign) =
            (pair.cert.pem(), pair.signing_key.serialize_pem(), other.signing_key.serialize_pem());
        let check = |cert: &str, key: &str, expected: &str| {
            let found =
                option_certificate(("--cert", "--key"), cert.as_bytes(), key.as_bytes()).err().unwrap_or_default();
            assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{found}");
            assert!(
                key.lines().all(|line| line.starts_with('-') || line.is_empty() || !found.contains(line)),
                "{found}"
            );
        };
        check(&cert, &key, "");
        check("", &key, "`--cert` holds no certificate: a certificate begins with `-----BEGIN CERTIFICATE-----`");
        let exchanged = "`--cert` holds a private key, and no certificate: `--cert` is the certificate and `--key` its";
        check(&key, &cert, exchanged);
        check(&cert, "", "`--key` holds no private key");
        check(&cert, &foreign, "`--key` does not belong to the certificate in `--cert`: both have the same");
        assert!(option_roots("--ca", cert.as_bytes()).is_ok());
        let help = "it is the CA's certificate, or several, that begin with `-----BEGIN CERTIFICATE-----`";
        for (pem, message) in
            [("", "`--ca` holds no certificate"), (&key, "`--ca` holds a private key, and no certificate")]
        {
            assert_eq!(option_roots("--ca", pem.as_bytes()).unwrap_err(), format!("{message}: {help}"));
        }
    }
}
