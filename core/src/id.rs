//! Ids of what a runtime answers or ends later. The switchboard mints them.

use crate::key::Key;

/// Marker of [`RequestId`].
#[derive(Debug)]
pub struct RequestKind;
/// Marker of [`FetchId`].
#[derive(Debug)]
pub struct FetchKind;
/// Marker of [`StoreId`].
#[derive(Debug)]
pub struct StoreKind;
/// Marker of [`DiskId`].
#[derive(Debug)]
pub struct DiskKind;
/// Marker of [`StreamId`].
#[derive(Debug)]
pub struct StreamKind;

/// A request that waits for its answer.
pub type RequestId = Key<RequestKind>;
/// An HTTP request of ours under way.
pub type FetchId = Key<FetchKind>;
/// A database command under way.
pub type StoreId = Key<StoreKind>;
/// A file command under way.
pub type DiskId = Key<DiskKind>;
/// An open WebSocket.
pub type StreamId = Key<StreamKind>;
