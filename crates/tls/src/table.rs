//! Which certificate a name gets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::SignatureAlgorithm;

use crate::pair::Certificate;

/// Certificates by the names that they are for. Never changed: replaced whole.
#[derive(Debug, Default)]
pub struct Table {
    exact: HashMap<String, Vec<Arc<Certificate>>>,
    /// By what stands after `*.`.
    wildcard: HashMap<String, Vec<Arc<Certificate>>>,
}

impl Table {
    /// A table of `certificates`. Where several have a name, one that is valid now comes first, then one of elliptic
    /// curves, which costs both ends less, then the one that is valid longest.
    pub fn new<'a>(certificates: impl IntoIterator<Item = &'a Arc<Certificate>>) -> Self {
        let mut table = Self::default();
        for certificate in certificates {
            for name in &certificate.names {
                let list = match name.strip_prefix("*.") {
                    Some(parent) => table.wildcard.entry(parent.to_owned()),
                    None => table.exact.entry(name.clone()),
                };
                list.or_default().push(Arc::clone(certificate));
            }
        }
        let now = SystemTime::now();
        for list in table.exact.values_mut().chain(table.wildcard.values_mut()) {
            list.sort_by_key(|certificate| {
                let valid = certificate.is_valid(now);
                let rsa = certificate.certified.key.algorithm() == SignatureAlgorithm::RSA;
                (!valid, rsa, std::cmp::Reverse(certificate.valid_until))
            });
        }
        table
    }

    /// The certificates for exactly this name.
    pub fn exact(&self, name: &str) -> &[Arc<Certificate>] {
        self.exact.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The certificates whose wildcard stands for this name: `*` is one label, as RFC 6125 has it.
    pub fn wildcard(&self, name: &str) -> &[Arc<Certificate>] {
        let parent = name.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, parent)| parent);
        parent.and_then(|parent| self.wildcard.get(parent)).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::self_signed;
    use crate::self_signed::tests::provider;

    fn certificate(names: &[&str]) -> Arc<Certificate> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Arc::new(self_signed::certificate(&names, &provider()).unwrap())
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let table = Table::new(&[certificate(&["*.site.test"])]);
        assert_eq!(table.wildcard("app.site.test").len(), 1);
        for name in ["site.test", "a.b.site.test", ".site.test", "test"] {
            assert!(table.wildcard(name).is_empty(), "{name}");
        }
        assert!(table.exact("app.site.test").is_empty());
    }

    #[test]
    fn of_two_the_one_that_is_valid_comes_first() {
        let mut expired = self_signed::certificate(&["site.test".into()], &provider()).unwrap();
        expired.valid_until = SystemTime::now();
        let expired = Arc::new(expired);
        let valid = certificate(&["site.test"]);
        let table = Table::new(&[Arc::clone(&expired), Arc::clone(&valid)]);
        assert!(Arc::ptr_eq(&table.exact("site.test")[0], &valid));
    }
}
