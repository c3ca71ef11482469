//! Fair parts of what all accounts share: who holds how much, and who holds more than its part.

use std::collections::HashMap;

use selvedge_model::AccountId;

/// What each account holds of something of which there is `total`.
pub struct Shares {
    held: HashMap<AccountId, u64>,
    total: u64,
}

impl Shares {
    /// From what is held, by whom.
    pub fn new<'a>(total: u64, held: impl IntoIterator<Item = (&'a AccountId, u64)>) -> Self {
        let mut shares = Self { held: HashMap::new(), total };
        for (account, amount) in held {
            shares.add(account, amount);
        }
        shares
    }

    /// An account holds so much more; with nothing it has a part all the same.
    pub fn add(&mut self, account: &AccountId, amount: u64) {
        let held = self.held.entry(account.clone()).or_default();
        *held = held.saturating_add(amount);
    }

    /// An account holds so much less.
    pub fn take(&mut self, account: &AccountId, amount: u64) {
        if let Some(held) = self.held.get_mut(account) {
            *held = held.saturating_sub(amount);
        }
    }

    /// What an account holds.
    pub fn of(&self, account: &AccountId) -> u64 {
        self.held.get(account).copied().unwrap_or_default()
    }

    /// What every account may hold where all want more: the same.
    pub fn part(&self) -> u64 {
        self.total / (self.held.len().max(1) as u64)
    }

    /// The account that holds most, where that is more than its part.
    pub fn furthest_over(&self) -> Option<AccountId> {
        let (account, held) = self.held.iter().max_by_key(|(_, held)| **held)?;
        (*held > self.part()).then(|| account.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(digit: &str) -> AccountId {
        digit.repeat(32).parse().unwrap()
    }

    #[test]
    fn who_holds_more_than_its_part_gives_until_it_does_not() {
        let (a, b, c) = (account("a"), account("b"), account("c"));
        let mut shares = Shares::new(30, [(&a, 1), (&b, 20), (&b, 8), (&c, 1)]);
        assert_eq!((shares.part(), shares.of(&b)), (10, 28));
        let mut taken = 0;
        while shares.furthest_over().as_ref() == Some(&b) {
            shares.take(&b, 2);
            taken += 2;
        }
        assert_eq!((taken, shares.furthest_over()), (18, None));
    }

    #[test]
    fn an_account_that_has_nothing_has_a_part() {
        let (a, b) = (account("a"), account("b"));
        let mut shares = Shares::new(30, [(&b, 30)]);
        assert_eq!(shares.furthest_over(), None, "what nobody else wants is nobody else's");
        shares.add(&a, 0);
        assert_eq!((shares.part(), shares.furthest_over()), (15, Some(b)));
        assert_eq!(shares.of(&a), 0);
    }
}
