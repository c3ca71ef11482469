//! Pieces of lists, as clients ask for them: by the number of a page, until one is short.

use selvedge_control::{ControlError, PAGE_MAX, Page};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::envelope::{Envelope, ResultInfo};
use crate::error::ApiError;

/// How many a page has where the client does not say.
const PER_PAGE: u64 = 100;
/// How many pages are read for a list that is answered whole.
const PAGES_MAX: u64 = 100;

/// The most that a list of large entries may come to where it is answered whole, in bytes: 32 MiB.
const LIST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Which page.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The page, counted from 1.
    #[param(minimum = 1)]
    pub page: Option<u64>,
    /// The most that a page holds; never more than 1000.
    #[param(minimum = 1)]
    pub per_page: Option<u64>,
}

impl PageQuery {
    /// The page that is meant.
    pub fn page(self) -> Result<Page, ApiError> {
        if self.page == Some(0) {
            return Err(ApiError::bad_parameter("`page` is counted from 1"));
        }
        if self.per_page == Some(0) {
            return Err(ApiError::bad_parameter(format!("`per_page` is between 1 and {PAGE_MAX}")));
        }
        Ok(Page::numbered(self.page.unwrap_or(1), self.per_page.unwrap_or(PER_PAGE)))
    }

    /// A page with what a client needs for asking for the next.
    pub fn envelope<T>(self, list: Vec<T>, total: u64) -> Envelope<Vec<T>> {
        let per_page = self.per_page.unwrap_or(PER_PAGE).clamp(1, PAGE_MAX);
        let info = ResultInfo {
            page: Some(self.page.unwrap_or(1) as usize),
            per_page: Some(per_page as usize),
            count: list.len(),
            total_count: Some(total as usize),
            total_pages: Some(total.div_ceil(per_page) as usize),
            cursor: None,
        };
        Envelope::paged(list, info)
    }
}

/// Reads a list whole, page by page, within bounds.
pub async fn whole<T, F>(mut read: impl FnMut(Page) -> F) -> Result<Vec<T>, ControlError>
where
    F: Future<Output = Result<Vec<T>, ControlError>>,
{
    let mut all = Vec::new();
    for number in 1..=PAGES_MAX {
        let page = read(Page::numbered(number, PAGE_MAX)).await?;
        let short = (page.len() as u64) < PAGE_MAX;
        all.extend(page);
        if short {
            break;
        }
    }
    Ok(all)
}

/// As [`whole`], of entries that may be large: `weigh` says what one takes, in bytes. A list that is too large as a whole is
/// refused; `pages` is where it can be had page by page.
pub async fn whole_of_large<T, F>(
    pages: &str,
    weigh: impl Fn(&T) -> usize,
    mut read: impl FnMut(Page) -> F,
) -> Result<Vec<T>, ApiError>
where
    F: Future<Output = Result<Vec<T>, ControlError>>,
{
    let (mut all, mut bytes) = (Vec::new(), 0_usize);
    for number in 1..=PAGES_MAX {
        let page = read(Page::numbered(number, PAGE_MAX)).await?;
        let short = (page.len() as u64) < PAGE_MAX;
        bytes = page.iter().map(&weigh).fold(bytes, usize::saturating_add);
        if bytes > LIST_BYTES_MAX {
            let message = format!("this list has more than {LIST_BYTES_MAX} bytes: {pages}");
            return Err(ApiError::bad_parameter(message));
        }
        all.extend(page);
        if short {
            break;
        }
    }
    Ok(all)
}

/// Milliseconds since 1970 as RFC 3339 has them.
pub fn time(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    // Every clock says something between the year 1 and 9999.
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_milliseconds() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert!(time(u64::MAX).starts_with("9999-"));
    }

    #[tokio::test]
    async fn a_list_that_is_too_large_as_a_whole_is_refused() {
        let read = |page: Page| async move { Ok(vec![page.offset; if page.offset < 3_000 { 1_000 } else { 5 }]) };
        let list = whole_of_large("use pages", |_| 1_000, read).await.unwrap();
        assert_eq!(list.len(), 3_005);
        let refused = whole_of_large("use pages", |_| 20_000, read).await.unwrap_err();
        assert!(refused.message.contains("use pages"), "{}", refused.message);
    }

    #[test]
    fn the_page_zero_is_none() {
        assert!(PageQuery { page: Some(0), per_page: None }.page().is_err());
        assert_eq!(PageQuery { page: Some(3), per_page: Some(10) }.page().unwrap().offset, 20);
    }
}
