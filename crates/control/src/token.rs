//! API tokens: 256 random bits, kept as a hash.

use std::collections::BTreeSet;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use selvedge_model::AccountId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::account::check_name;
use crate::bounds::TOKENS_MAX;
use crate::caller::{Caller, Origin, Permission, Scope};
use crate::control::{Control, random_id};
use crate::core::Decided;
use crate::error::ControlError;
use crate::event::Event;
use crate::page::Page;
use crate::secret::Secret;
use crate::store::View;

/// What every token begins with, so that it is known for one where it does not belong.
const PREFIX: &str = "slv_";
/// The length of a token, in bytes.
const TOKEN_BYTES: usize = PREFIX.len() + 43;

/// A token, but not the token itself: nobody has that but who made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// 32 hexadecimal digits.
    pub id: String,
    pub name: String,
    pub scope: Scope,
    pub permissions: BTreeSet<Permission>,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// Who made it: the name of a token.
    pub author: String,
}

impl Token {
    /// The account that it is for; none if it is for all.
    pub fn account(&self) -> Option<&AccountId> {
        self.scope.account()
    }
}

/// A token to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    pub name: String,
    pub permissions: BTreeSet<Permission>,
    /// Milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// For all accounts rather than the one: administrators of the platform may make such.
    pub all_accounts: bool,
}

impl Control {
    /// Who holds that token.
    ///
    /// # Errors
    /// [`ControlError::Unauthenticated`] if nobody does, or not any more.
    pub async fn authenticate(&self, token: &str, origin: Origin) -> Result<Caller, ControlError> {
        if token.len() != TOKEN_BYTES || !token.starts_with(PREFIX) {
            return Err(ControlError::Unauthenticated);
        }
        let hash = hash_of(token);
        let wanted = hash.clone();
        let stored = self.core.store.read_short(move |view| view.token_by_hash(&wanted)).await?;
        let stored = stored.ok_or(ControlError::Unauthenticated)?;
        verify_slices_are_equal(stored.hash.as_bytes(), hash.as_bytes()).map_err(|_| ControlError::Unauthenticated)?;
        let token = stored.token;
        if token.expires_ms.is_some_and(|expires_ms| expires_ms <= self.core.clock.now_ms()) {
            return Err(ControlError::Unauthenticated);
        }
        Ok(Caller {
            token_id: token.id,
            name: token.name,
            scope: token.scope,
            permissions: token.permissions,
            expires_ms: token.expires_ms,
            origin,
        })
    }

    /// Refuses a caller whose token has been revoked or has expired since it was let in. Questions and commands check that
    /// themselves; this is for what is done beside them.
    pub async fn check_caller(&self, caller: &Caller) -> Result<(), ControlError> {
        let (token, now_ms) = (caller.token_id.clone(), self.core.clock.now_ms());
        self.core.store.read_short(move |view| check_token(view, &token, now_ms)).await
    }

    /// Makes a token for an account. It is shown this once. Needs `tokens:write`, and gives no permission that the
    /// caller does not have, nor for longer.
    pub async fn create_token(
        &self,
        caller: &Caller,
        account: &AccountId,
        new: NewToken,
    ) -> Result<(Token, Secret), ControlError> {
        caller.require(account, Permission::TokensWrite)?;
        check_name("name", &new.name)?;
        check_permissions(caller, &new)?;
        // It would outlive the one that made it, and so whoever was to have that for a while only.
        if let Some(until_ms) = caller.expires_ms
            && new.expires_ms.is_none_or(|expires_ms| expires_ms > until_ms)
        {
            let problem = "a token that expires makes none that lasts longer: say when, no later than its own end";
            return Err(ControlError::invalid("expires_on", problem));
        }
        let scope = if new.all_accounts { Scope::AllAccounts } else { Scope::Account(account.clone()) };
        let secret = new_token()?;
        let (id, hash, author) = (random_id(), hash_of(secret.expose()), caller.name().to_owned());
        let token = self
            .change(caller, account, Permission::TokensWrite, move |view, at_ms| {
                if new.expires_ms.is_some_and(|expires_ms| expires_ms <= at_ms) {
                    return Err(ControlError::invalid("expires_on", "it is in the past"));
                }
                if view.count_tokens(&scope, at_ms)? >= TOKENS_MAX {
                    return Err(ControlError::TooMany { what: "tokens", count_max: TOKENS_MAX });
                }
                let token = Token {
                    id: id.clone(),
                    name: new.name.clone(),
                    scope: scope.clone(),
                    permissions: new.permissions.clone(),
                    created_ms: at_ms,
                    expires_ms: new.expires_ms,
                    author: author.clone(),
                };
                Ok(Decided::new(vec![Event::TokenCreated { token: token.clone(), hash: hash.clone() }], token))
            })
            .await?;
        Ok((token, secret))
    }

    /// The tokens of an account that are neither revoked nor expired, oldest first; to an administrator of the platform
    /// also those for all accounts. Needs `tokens:write`.
    pub async fn tokens(&self, caller: &Caller, account: &AccountId, page: Page) -> Result<Vec<Token>, ControlError> {
        let (scope, admin) = (Scope::Account(account.clone()), caller.require_admin().is_ok());
        let now_ms = self.core.clock.now_ms();
        self.ask(caller, account, Permission::TokensWrite, move |view| {
            let mut tokens = view.tokens(&scope, now_ms, Page::first(TOKENS_MAX))?;
            if admin {
                tokens.extend(view.tokens(&Scope::AllAccounts, now_ms, Page::first(TOKENS_MAX))?);
            }
            tokens.sort_by(|one, other| (one.created_ms, &one.id).cmp(&(other.created_ms, &other.id)));
            Ok(tokens.into_iter().skip(page.offset as usize).take(page.limit as usize).collect())
        })
        .await
    }

    /// Revokes a token: no request that comes later is let in by it. Needs `tokens:write`. The last token of the
    /// platform's administrators stays.
    pub async fn revoke_token(&self, caller: &Caller, account: &AccountId, id: &str) -> Result<(), ControlError> {
        let (own, admin, id) = (account.clone(), caller.require_admin().is_ok(), id.to_owned());
        self.change(caller, account, Permission::TokensWrite, move |view, at_ms| {
            let missing = || ControlError::TokenNotFound { id: id.chars().take(64).collect() };
            let token = view.token(&id)?.ok_or_else(missing)?;
            let visible = token.account().map_or(admin, |account| *account == own);
            if !visible {
                return Err(missing());
            }
            if is_admin(&token) {
                let all = view.tokens(&Scope::AllAccounts, at_ms, Page::first(TOKENS_MAX))?;
                if all.iter().filter(|other| is_admin(other) && other.expires_ms.is_none()).count() <= 1
                    && token.expires_ms.is_none()
                {
                    let problem = "it is the platform's last token for administrators that does not expire: \
                                   make another first";
                    return Err(ControlError::invalid("token", problem));
                }
            }
            let event = Event::TokenRevoked { account: token.account().cloned(), id: token.id, name: token.name };
            Ok(Decided::new(vec![event], ()))
        })
        .await
    }
}

/// Refuses a token that is not there any more, or has expired: between its head and the end of its body, a request may take
/// minutes.
pub(crate) fn check_token(view: &View<'_>, id: &str, now_ms: u64) -> Result<(), ControlError> {
    match view.token(id)? {
        Some(token) if token.expires_ms.is_none_or(|expires_ms| expires_ms > now_ms) => Ok(()),
        Some(_) | None => Err(ControlError::Unauthenticated),
    }
}

fn is_admin(token: &Token) -> bool {
    token.scope == Scope::AllAccounts && token.permissions.contains(&Permission::PlatformAdmin)
}

fn check_permissions(caller: &Caller, new: &NewToken) -> Result<(), ControlError> {
    if new.permissions.is_empty() {
        return Err(ControlError::invalid("permissions", "a token without any is good for nothing: name some"));
    }
    if let Some(permission) = new.permissions.difference(caller.permissions()).next() {
        return Err(ControlError::Forbidden { permission: *permission });
    }
    if new.all_accounts {
        return caller.require_admin();
    }
    if new.permissions.contains(&Permission::PlatformAdmin) {
        let problem = "platform:admin is for tokens that are for all accounts";
        return Err(ControlError::invalid("permissions", problem));
    }
    Ok(())
}

/// What a token is looked up by. It is no password: of 256 random bits, no slow hash is needed.
pub(crate) fn hash_of(token: &str) -> String {
    blake3::hash(token.as_bytes()).to_hex().to_string()
}

pub(crate) fn new_token() -> Result<Secret, ControlError> {
    let mut bits = [0; 32];
    rand::fill(&mut bits).map_err(|_| ControlError::Seal)?;
    let mut text = URL_SAFE_NO_PAD.encode(bits);
    bits.zeroize();
    let token = Secret::new(format!("{PREFIX}{text}"));
    text.zeroize();
    Ok(token)
}
