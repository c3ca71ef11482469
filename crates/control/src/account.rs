//! Accounts.

use selvedge_model::{AccountId, WorkerName, is_host_name};
use serde::{Deserialize, Serialize};

use crate::bounds::{ACCOUNTS_MAX, NAME_BYTES_MAX};
use crate::caller::{Caller, Permission, Scope};
use crate::control::{Control, random_id};
use crate::core::Decided;
use crate::error::ControlError;
use crate::event::{By, Event};
use crate::page::Page;
use crate::store::View;

/// An account: who owns workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub id: AccountId,
    pub name: String,
    /// What stands between a worker's name and the platform's domain. None for the first account, whose workers are
    /// directly below the domain.
    pub subdomain: Option<String>,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

/// What a new account is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    pub name: String,
    /// Made of the name where none is given.
    pub subdomain: Option<String>,
}

impl Control {
    /// The accounts that the caller may know of, in the order in which they were made.
    pub async fn accounts(&self, caller: &Caller, page: Page) -> Result<Vec<Account>, ControlError> {
        match caller.scope() {
            Scope::AllAccounts => self.core.store.read(move |view| view.accounts(page)).await,
            Scope::Account(_) if page.offset > 0 || page.limit == 0 => Ok(Vec::new()),
            Scope::Account(own) => {
                let own = own.clone();
                Ok(vec![self.core.store.read(move |view| view.account(&own)).await?])
            }
        }
    }

    /// One account. Needs `account:read`.
    pub async fn account(&self, caller: &Caller, account: &AccountId) -> Result<Account, ControlError> {
        let id = account.clone();
        self.ask(caller, account, Permission::AccountRead, move |view| view.account(&id)).await
    }

    /// What follows `worker.` in the host names of the account's workers. Needs `workers:read`.
    pub async fn suffix_of(&self, caller: &Caller, account: &AccountId) -> Result<String, ControlError> {
        let id = account.clone();
        let account = self.ask(caller, account, Permission::WorkersRead, move |view| view.account(&id)).await?;
        Ok(self.host_suffix(&account))
    }

    /// Makes an account. For administrators of the platform.
    pub async fn create_account(&self, caller: &Caller, new: NewAccount) -> Result<Account, ControlError> {
        caller.require_admin()?;
        check_name("name", &new.name)?;
        if let Some(subdomain) = &new.subdomain {
            check_subdomain(subdomain)?;
        }
        let id = random_id();
        let account: AccountId =
            id.parse().map_err(|_| ControlError::invalid("account", "its id could not be made"))?;
        self.carry_out(By::caller(caller), move |view, at_ms| {
            if view.count_accounts()? >= ACCOUNTS_MAX {
                return Err(ControlError::TooMany { what: "accounts", count_max: ACCOUNTS_MAX });
            }
            let subdomain = match &new.subdomain {
                Some(subdomain) if !is_free(view, subdomain)? => {
                    return Err(ControlError::SubdomainTaken { subdomain: subdomain.clone() });
                }
                Some(subdomain) => subdomain.clone(),
                None => {
                    let short = subdomain_of(&new.name);
                    if is_reserved(&short) || !is_free(view, &short)? {
                        format!("{short}-{}", id.get(..8).unwrap_or(&id))
                    } else {
                        short
                    }
                }
            };
            let account =
                Account { id: account.clone(), name: new.name.clone(), subdomain: Some(subdomain), created_ms: at_ms };
            Ok(Decided::new(vec![Event::AccountCreated { account: account.clone() }], account))
        })
        .await
    }

    /// Changes what stands between the account's workers and the domain; its workers move at once. Needs
    /// `workers:write`. The first account has none, and keeps it so.
    pub async fn set_subdomain(
        &self,
        caller: &Caller,
        account: &AccountId,
        subdomain: &str,
    ) -> Result<Account, ControlError> {
        caller.require(account, Permission::WorkersWrite)?;
        check_subdomain(subdomain)?;
        let (id, subdomain) = (account.clone(), subdomain.to_owned());
        self.change(caller, account, Permission::WorkersWrite, move |view, _| {
            let mut account = view.account(&id)?;
            if account.subdomain.is_none() {
                let problem = "the workers of this account are directly below the platform's domain, and stay there";
                return Err(ControlError::invalid("subdomain", problem));
            }
            if account.subdomain.as_ref() == Some(&subdomain) {
                return Ok(Decided::new(Vec::new(), account));
            }
            if !is_free(view, &subdomain)? {
                return Err(ControlError::SubdomainTaken { subdomain: subdomain.clone() });
            }
            account.subdomain = Some(subdomain.clone());
            let event = Event::SubdomainSet { account: id.clone(), subdomain: subdomain.clone() };
            Ok(Decided::new(vec![event], account))
        })
        .await
    }

    /// What follows `worker.` in the host names of that account's workers: `domain` or `subdomain.domain`.
    pub(crate) fn host_suffix(&self, account: &Account) -> String {
        match &account.subdomain {
            Some(subdomain) => format!("{subdomain}.{}", self.domain()),
            None => self.domain().to_owned(),
        }
    }
}

/// Whether a character is none that is seen, but controls how others are: whoever reads a list by which others decide sees
/// something else than is there.
pub(crate) fn is_unseen(char: char) -> bool {
    char.is_control() || is_override(char)
}

/// Whether a character changes the direction of the text about it.
pub(crate) fn is_override(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A name that people give: some text, on one line.
pub(crate) fn check_name(at: &str, name: &str) -> Result<(), ControlError> {
    let problem = if name.trim().is_empty() {
        "it must not be empty".to_owned()
    } else if name.len() > NAME_BYTES_MAX {
        format!("it must not be longer than {NAME_BYTES_MAX} bytes")
    } else if name.chars().any(is_unseen) {
        "it must not have characters in it that control how text is shown".to_owned()
    } else {
        return Ok(());
    };
    Err(ControlError::invalid(at, problem))
}

/// Names below the domain that browsers, mail servers and people take for the platform's own.
const RESERVED: [&str; 14] = [
    "admin",
    "api",
    "autoconfig",
    "autodiscover",
    "dashboard",
    "isatap",
    "localhost",
    "mail",
    "mta-sts",
    "smtp",
    "static",
    "status",
    "wpad",
    "www",
];

/// Whether no account that asks may have a subdomain. Names whose third and fourth characters are hyphens stand for names
/// in other letters, or will.
fn is_reserved(subdomain: &str) -> bool {
    RESERVED.contains(&subdomain) || subdomain.get(2..4) == Some("--")
}

/// Whether neither an account has the subdomain, nor a worker is there: the workers of the account would be below that
/// worker's host name, and could set cookies for it.
fn is_free(view: &View<'_>, subdomain: &str) -> Result<bool, ControlError> {
    if view.subdomain_taken(subdomain)? {
        return Ok(false);
    }
    match (view.first_account()?, subdomain.parse::<WorkerName>()) {
        (Some(first), Ok(worker)) => Ok(view.find_worker(&first, &worker)?.is_none()),
        _ => Ok(true),
    }
}

/// Refuses a new worker directly below the domain whose host name the workers of another account are below.
pub(crate) fn check_below_domain(
    view: &View<'_>,
    account: &AccountId,
    worker: &WorkerName,
) -> Result<(), ControlError> {
    if view.account(account)?.subdomain.is_some() || !view.subdomain_taken(worker.as_str())? {
        return Ok(());
    }
    let problem = format!("{worker} is the subdomain of another account: choose another name");
    Err(ControlError::invalid("script_name", problem))
}

pub(crate) fn check_subdomain(subdomain: &str) -> Result<(), ControlError> {
    if is_reserved(subdomain) {
        return Err(ControlError::invalid("subdomain", "it is reserved: choose another"));
    }
    let label = is_host_name(subdomain)
        && subdomain.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && subdomain.len() <= 63;
    if label {
        return Ok(());
    }
    Err(ControlError::invalid("subdomain", "it must be 1 to 63 of a-z, 0-9 and -, with no - at either end"))
}

/// A subdomain made of a name: its letters and digits, with single hyphens between.
pub(crate) fn subdomain_of(name: &str) -> String {
    let mut label = String::new();
    for byte in name.bytes().map(|byte| byte.to_ascii_lowercase()) {
        if byte.is_ascii_alphanumeric() {
            label.push(char::from(byte));
        } else if !label.ends_with('-') && !label.is_empty() {
            label.push('-');
        }
        // Room for what tells it from another account's.
        if label.len() >= 50 {
            break;
        }
    }
    let label = label.trim_end_matches('-');
    if label.is_empty() { "account".into() } else { label.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_show_all_that_is_in_them() {
        for good in ["Tools & Toys", "Ä", "שלום", "\u{1f9f5}"] {
            assert!(check_name("name", good).is_ok(), "{good}");
        }
        for bad in ["a\nb", "a\u{202e}b", "\u{2066}a"] {
            assert!(check_name("name", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn subdomains_are_made_of_names() {
        assert!(is_reserved(&subdomain_of("WWW")));
        for (name, subdomain) in
            [("Tools & Toys", "tools-toys"), ("ÄÖÜ", "account"), ("--", "account"), ("a", "a"), ("9 to 5!", "9-to-5")]
        {
            assert_eq!(subdomain_of(name), subdomain);
            assert!(check_subdomain(subdomain).is_ok());
        }
        for bad in ["", "-a", "a-", "a.b", "A", "a_b", "www", "xn--bcher-kva", &"a".repeat(64)] {
            assert!(check_subdomain(bad).is_err(), "{bad}");
        }
    }
}
