//! Who asks, and what they may. Whatever depends on the caller is keyed by this type.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::budget::Budget;
use super::digest::sha256_hex;
use super::{AppId, ChannelId, Class};

/// Who asks. Cheap to clone; compared by name and rights.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Caller {
    /// Nobody in particular, where no keys are configured: may see everything that is.
    #[default]
    Anonymous,
    /// weir itself, which collects what is watched.
    Own,
    /// Somebody who showed a key or a token.
    Known(Arc<Identity>),
}

/// Somebody who showed a key or a token, and what they may.
#[derive(Debug)]
pub struct Identity {
    name: String,
    /// Name and rights in one text: equal texts are equal callers.
    scope: String,
    rights: Rights,
    budget: Option<Arc<Budget>>,
    /// Whether a token named them: an issuer may name any number of bearers.
    is_of_token: bool,
}

/// What a caller may. The default is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// The channels that they see; all that are configured without it.
    pub channels: Option<BTreeSet<String>>,
    /// The applications that they see; all that are configured without it.
    pub apps: Option<BTreeSet<String>>,
    /// Whether phone numbers are masked for them.
    pub phones_masked: bool,
    /// The classes in which they may ask; all without it.
    pub classes: Option<BTreeSet<Class>>,
}

impl Identity {
    /// `name` is what logs call them. Calls are charged to `budget`, if there is one.
    #[must_use]
    pub fn new(name: &str, rights: Rights, budget: Option<Arc<Budget>>) -> Self {
        let scope = format!("{name} {}", sha256_hex(format!("{rights:?}").as_bytes()));
        Self { name: name.to_owned(), scope, rights, budget, is_of_token: false }
    }

    /// The same, named by a token and not by the config.
    #[must_use]
    pub fn of_token(self) -> Self {
        Self { is_of_token: true, ..self }
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.scope == other.scope
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.scope.hash(state);
    }
}

impl Caller {
    /// A caller who showed a key or a token.
    #[must_use]
    pub fn known(identity: Identity) -> Self {
        Self::Known(Arc::new(identity))
    }

    /// Whether nobody had to say who they are.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        *self == Self::Anonymous
    }

    /// What metrics call them: one of a few words.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Known(identity) if identity.is_of_token => "token",
            _ => self.name(),
        }
    }

    /// What logs call them.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Own => "weir",
            Self::Known(identity) => &identity.name,
        }
    }

    fn rights(&self) -> Option<&Rights> {
        match self {
            Self::Anonymous | Self::Own => None,
            Self::Known(identity) => Some(&identity.rights),
        }
    }

    /// Whether the caller may see this channel. Asked before every look-up, for each named and each expanded channel; the
    /// only channel of an account without named ones is seen by those who see all.
    #[must_use]
    pub fn may_see_channel(&self, channel: Option<&ChannelId>) -> bool {
        let listed = self.rights().and_then(|rights| rights.channels.as_ref());
        listed.is_none_or(|listed| channel.is_some_and(|channel| listed.contains(channel.as_str())))
    }

    /// Whether the caller may see this application.
    #[must_use]
    pub fn may_see_app(&self, app: &AppId) -> bool {
        self.rights().and_then(|rights| rights.apps.as_ref()).is_none_or(|listed| listed.contains(app.as_str()))
    }

    /// Whether the caller may see all that is configured, and so what is told of weir as a whole.
    #[must_use]
    pub fn sees_everything(&self) -> bool {
        self.rights().is_none_or(|rights| rights.channels.is_none() && rights.apps.is_none())
    }

    /// Whether phone numbers are masked for the caller.
    #[must_use]
    pub fn has_masked_phones(&self) -> bool {
        self.rights().is_some_and(|rights| rights.phones_masked)
    }

    /// The class that a request has: the one it `asked` for, else the door's `usual` one, or the next less urgent one that
    /// the caller may ask in. `None` if they may not.
    #[must_use]
    pub fn class(&self, asked: Option<Class>, usual: Class) -> Option<Class> {
        let Some(allowed) = self.rights().and_then(|rights| rights.classes.as_ref()) else {
            return Some(asked.unwrap_or(usual));
        };
        match asked {
            Some(asked) => Some(asked).filter(|asked| allowed.contains(asked)),
            None => allowed.range(usual..).next().copied(),
        }
    }

    /// The classes in which the caller may ask.
    pub fn classes(&self) -> impl Iterator<Item = Class> {
        let allowed = self.rights().and_then(|rights| rights.classes.clone());
        Class::ALL.into_iter().filter(move |class| allowed.as_ref().is_none_or(|allowed| allowed.contains(class)))
    }

    /// What calls are charged to, if they are counted.
    #[must_use]
    pub fn budget(&self) -> Option<&Arc<Budget>> {
        match self {
            Self::Anonymous | Self::Own => None,
            Self::Known(identity) => identity.budget.as_ref(),
        }
    }

    /// Name and rights in one text, for keys that are texts.
    #[must_use]
    pub fn scope(&self) -> &str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Own => "weir",
            Self::Known(identity) => &identity.scope,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(rights: Rights) -> Caller {
        Caller::known(Identity::new("dashboards", rights, None))
    }

    #[test]
    fn rights_are_part_of_who_one_is() {
        let (all, masked) = (Rights::default(), Rights { phones_masked: true, ..Rights::default() });
        assert_eq!(caller(all.clone()), caller(all.clone()));
        assert_ne!(caller(all.clone()), caller(masked));
        assert_ne!(caller(all.clone()), Caller::known(Identity::new("reports", all, None)));
        assert_ne!(caller(Rights::default()), Caller::Anonymous);
    }

    #[test]
    fn whoever_has_a_list_sees_what_is_on_it() {
        let listed = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let one = caller(Rights { channels: listed(&["a"]), apps: listed(&[]), ..Rights::default() });
        assert!(one.may_see_channel(Some(&ChannelId::new("a"))));
        assert!(!one.may_see_channel(Some(&ChannelId::new("b"))) && !one.may_see_channel(None));
        assert!(!one.may_see_app(&AppId::new("a")) && !one.sees_everything());
        let all = caller(Rights::default());
        assert!(all.may_see_channel(None) && all.may_see_app(&AppId::new("a")) && all.sees_everything());
    }

    #[test]
    fn a_class_is_asked_for_or_the_next_that_is_allowed() {
        let only = |classes: &[Class]| {
            caller(Rights { classes: Some(classes.iter().copied().collect()), ..Rights::default() })
        };
        let bulk = only(&[Class::Bulk]);
        assert_eq!(bulk.class(None, Class::Interactive), Some(Class::Bulk));
        assert_eq!(bulk.class(Some(Class::Interactive), Class::Bulk), None);
        let interactive = only(&[Class::Interactive]);
        assert_eq!(interactive.class(None, Class::Bulk), None, "never more urgent than the door");
        assert_eq!(interactive.class(Some(Class::Interactive), Class::Bulk), Some(Class::Interactive));
        assert_eq!(Caller::Anonymous.class(None, Class::Bulk), Some(Class::Bulk));
    }
}
