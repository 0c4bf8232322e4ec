//! nsutil
