//! Which request heads are refused, and with what answer.
