//! The words of the field as types. Nothing here knows a vendor's spelling, does I/O or reads a clock.
//!
//! Start with [`window`] (half-open spans), then [`operation`] (the seam between the layers).

pub mod archived;
pub mod ask;
pub mod budget;
pub mod calendar;
pub mod caller;
pub mod class;
pub mod count;
pub mod dataset;
pub mod digest;
pub mod duration;
pub mod facts;
pub mod freshness;
pub mod ids;
pub mod limit;
pub mod live;
pub mod mask;
pub mod operation;
pub mod pool;
pub mod rfc3339;
pub mod series;
pub mod steps;
pub mod time;
pub mod window;
pub mod wording;

pub use archived::{ArchiveKey, ArchiveRow, Archived, ArchivedSlice, Number};
pub use ask::{Ask, Freshness, Made, RequestCost};
pub use budget::Budget;
pub use caller::{Caller, Identity, Rights};
pub use class::Class;
pub use count::{DistinctUsers, MessageCount};
pub use facts::Facts;
pub use freshness::{Finality, Held, Keep, Source};
pub use ids::{Account, AppId, ChannelId, PhoneNumber, Vendor};
pub use limit::{LimitName, Shadow};
pub use live::Live;
pub use mask::Mask;
pub use operation::{CallError, CallErrorKind, Cut, Operation, Sent, Slice, Subject};
pub use pool::{MemoryPool, Reservation};
pub use series::{Key, Point};
pub use steps::{Follower, Step};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use window::Window;
