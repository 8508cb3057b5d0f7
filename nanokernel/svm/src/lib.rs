#![no_std]
//! AMD SVM: control block, permission maps, nested paging, VMRUN. Unsafe lives here.
