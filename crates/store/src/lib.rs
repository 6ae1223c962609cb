//! Where weights live: read explicitly into owned memory under a budget.
