//! Which account serves which channel and application, and what of it a caller may see.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::tz::TimeZone;

use crate::domain::wording::echo;
use crate::domain::{Account, AppId, ArchiveKey, Caller, ChannelId};
use crate::error::{Code, WeirError};

/// Everything that the config names, in its order.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The configured accounts of both vendors.
    pub accounts: Vec<Account>,
    /// The configured channels; one without an id where a single account names none.
    pub channels: Vec<CatalogChannel>,
    /// The configured applications.
    pub apps: Vec<CatalogApp>,
}

/// A configured channel.
#[derive(Debug, Clone)]
pub struct CatalogChannel {
    /// Its `CustSpaceId`; `None` where calls are made without one.
    pub id: Option<ChannelId>,
    /// The account that serves it.
    pub account: Account,
    /// The codes of its configured message templates.
    pub templates: Vec<String>,
    /// The zone at whose midnights its days begin, where it is configured.
    pub zone: Option<TimeZone>,
    /// Whether the log was told that replies show another one.
    pub warned: Arc<AtomicBool>,
}

/// A configured application.
#[derive(Debug, Clone)]
pub struct CatalogApp {
    /// Its `AppId`.
    pub id: AppId,
    /// The account that serves it.
    pub account: Account,
    /// The zone in which its hours, days and weeks are cut.
    pub zone: TimeZone,
}

impl Catalog {
    /// The channel with this id; without one, the only configured channel.
    ///
    /// # Errors
    /// [`Code::Forbidden`] if the caller may not see it, [`Code::UnknownChannel`] if no account serves it,
    /// [`Code::BadUserInput`] if there are several and none is named.
    pub fn channel<'a>(&'a self, id: Option<&str>, caller: &'a Caller) -> Result<&'a CatalogChannel, WeirError> {
        let Some(id) = id else {
            let mut seen = self.channels(caller);
            return match (seen.next(), seen.next()) {
                (Some(only), None) => Ok(only),
                (None, _) if self.channels.is_empty() => {
                    Err(WeirError::new(Code::UnknownChannel, "no channel is configured"))
                }
                (None, _) => {
                    let message = format!("`{}` may see no channel", echo(caller.name()));
                    Err(WeirError::new(Code::Forbidden, message))
                }
                (Some(_), Some(_)) => Err(WeirError::bad_input(
                    "several channels are configured, so custSpaceId must name one of them; \
                     `{ channels { custSpaceId } }` lists them",
                )),
            };
        };
        // Whether it exists is told to those alone who may see it.
        if !caller.may_see_channel(Some(&ChannelId::new(id))) {
            return Err(forbidden(caller, "channel", id, "{ channels { custSpaceId } }"));
        }
        let found = self.channels(caller).find(|channel| channel.id.as_ref().is_some_and(|known| known.as_str() == id));
        found.ok_or_else(|| {
            WeirError::new(
                Code::UnknownChannel,
                format!(
                    "no configured account serves the channel `{}`; in GraphQL `{{ channels {{ custSpaceId }} }}` lists them",
                    echo(id)
                ),
            )
        })
    }

    /// The channel whose numbers an archive keeps under a key.
    #[must_use]
    pub fn channel_of(&self, key: &ArchiveKey) -> Option<&CatalogChannel> {
        let of = |channel: &&CatalogChannel| {
            (channel.account.name(), channel.id.as_ref().map(ChannelId::as_str))
                == (key.account.as_str(), key.entity.as_deref())
        };
        self.channels.iter().find(of)
    }

    /// The application whose numbers an archive keeps under a key.
    #[must_use]
    pub fn app_of(&self, key: &ArchiveKey) -> Option<&CatalogApp> {
        let of = |app: &&CatalogApp| {
            (app.account.name(), Some(app.id.as_str())) == (key.account.as_str(), key.entity.as_deref())
        };
        self.apps.iter().find(of)
    }

    /// Whether an account serves anything that the caller may see.
    #[must_use]
    pub fn may_see_account(&self, account: &Account, caller: &Caller) -> bool {
        caller.sees_everything()
            || self.channels(caller).any(|channel| channel.account == *account)
            || self.apps(caller).any(|app| app.account == *account)
    }

    /// The channels that the caller may see.
    pub fn channels<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = &'a CatalogChannel> {
        self.channels.iter().filter(|channel| caller.may_see_channel(channel.id.as_ref()))
    }

    /// The application with this id.
    ///
    /// # Errors
    /// [`Code::Forbidden`] if the caller may not see it, [`Code::UnknownApplication`] if no account serves it.
    pub fn app<'a>(&'a self, id: &str, caller: &'a Caller) -> Result<&'a CatalogApp, WeirError> {
        if !caller.may_see_app(&AppId::new(id)) {
            return Err(forbidden(caller, "application", id, "{ applications { appId } }"));
        }
        self.apps(caller).find(|app| app.id.as_str() == id).ok_or_else(|| {
            WeirError::new(
                Code::UnknownApplication,
                format!(
                    "no configured account serves the application `{}`; in GraphQL `{{ applications {{ appId }} }}` lists them",
                    echo(id)
                ),
            )
        })
    }

    /// The applications that the caller may see.
    pub fn apps<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = &'a CatalogApp> {
        self.apps.iter().filter(|app| caller.may_see_app(&app.id))
    }
}

fn forbidden(caller: &Caller, what: &str, id: &str, list: &str) -> WeirError {
    let message = format!(
        "`{}` may not see the {what} `{}`; in GraphQL `{list}` lists what it may",
        echo(caller.name()),
        echo(id)
    );
    WeirError::new(Code::Forbidden, message)
}
