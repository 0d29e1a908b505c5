dnl Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file

dnl The file format of LMDB has the word size of the host in it, and the map must hold a whole mail store.
AC_DEFUN([LMDB_CHECK_HOST], [
  AC_CHECK_SIZEOF([void *])
  AS_IF([test "$ac_cv_sizeof_void_p" -lt 8], [
    AC_MSG_ERROR([a 64-bit host is needed: LMDB maps the whole mail store into memory])
  ])
])

AC_DEFUN([LMDB_CHECK_LIBRARIES], [
  AC_CHECK_HEADER([lmdb.h], [], [
    AC_MSG_ERROR([lmdb.h not found: install the development files of LMDB 0.9 (Debian: liblmdb-dev)])
  ])
  AC_MSG_CHECKING([for LMDB 0.9.24 or a later 0.9])
  AC_COMPILE_IFELSE([AC_LANG_SOURCE([[
    #include <lmdb.h>
    #if MDB_VERSION_FULL < MDB_VERINT(0, 9, 24) || MDB_VERSION_FULL >= MDB_VERINT(0, 10, 0)
    #  error unsuitable
    #endif
    int lmdb_version_is_suitable;
  ]])], [
    AC_MSG_RESULT([yes])
  ], [
    AC_MSG_RESULT([no])
    AC_MSG_ERROR([this LMDB is unsuitable: 0.9.24 up to the last 0.9 is needed (1.0 has another file format)])
  ])
  AC_CHECK_LIB([lmdb], [mdb_env_create], [LMDB_LIBS=-llmdb], [
    AC_MSG_ERROR([lmdb.h was found, but no liblmdb to link with])
  ])
  AC_CHECK_HEADER([xxhash.h], [], [
    AC_MSG_ERROR([xxhash.h not found: install the development files of xxHash 0.8 (Debian: libxxhash-dev)])
  ])
  AC_CHECK_LIB([xxhash], [XXH3_64bits], [XXHASH_LIBS=-lxxhash], [
    AC_MSG_ERROR([no libxxhash with XXH3_64bits: xxHash 0.8.0 or later is needed])
  ])
  AC_CHECK_HEADER([lz4.h], [], [
    AC_MSG_ERROR([lz4.h not found: install the development files of LZ4 (Debian: liblz4-dev)])
  ])
  AC_CHECK_LIB([lz4], [LZ4_compress_default], [LZ4_LIBS=-llz4], [
    AC_MSG_ERROR([lz4.h was found, but no liblz4 to link with])
  ])
  AC_SUBST([LMDB_LIBS])
  AC_SUBST([XXHASH_LIBS])
  AC_SUBST([LZ4_LIBS])
])

dnl Calls DC_DOVECOT with a default that suits distributions: it would look below $prefix only. The directory
dnl for the plugin is the one that dovecot-config names, unless --with-moduledir or
dnl --without-dovecot-install-dirs (make distcheck) says otherwise.
AC_DEFUN([LMDB_FIND_DOVECOT], [
  AC_ARG_WITH([moduledir], [AS_HELP_STRING([--with-moduledir=DIR],
    [where to install the plugin (default: the module directory of Dovecot)])])

  AS_IF([test "${with_dovecot+set}" != set], [
    lmdb_prefix=$prefix
    test "x$lmdb_prefix" = xNONE && lmdb_prefix=$ac_default_prefix
    for lmdb_dir in "$lmdb_prefix/lib/dovecot" "$lmdb_prefix/lib64/dovecot" \
        /usr/lib/dovecot /usr/lib64/dovecot /usr/local/lib/dovecot; do
      AS_IF([test -f "$lmdb_dir/dovecot-config"], [
        with_dovecot=$lmdb_dir
        break
      ])
    done
  ])
  AS_IF([test "${with_dovecot+set}" != set || test ! -f "$with_dovecot/dovecot-config"], [
    AC_MSG_ERROR([dovecot-config not found: install Dovecot's development files (Debian: dovecot-dev) or use --with-dovecot=DIR])
  ])

  DC_DOVECOT

  dnl gnu99 comes from older versions of DC_DOVECOT; src/store is C11.
  CFLAGS="-std=gnu11 `echo " $CFLAGS " | $SED -e 's/ -std=@<:@a-z0-9@:>@* / /g'`"

  AS_IF([test "x$with_moduledir" != x && test "x$with_moduledir" != xno && test "x$with_moduledir" != xyes], [
    dovecot_moduledir=$with_moduledir
  ], [test "$use_install_dirs" = no], [
    dovecot_moduledir='$(libdir)/dovecot/modules'
  ])

  DOVECOT_CPPFLAGS=`echo " $LIBDOVECOT_INCLUDE $LIBDOVECOT_STORAGE_INCLUDE" | $SED -e 's/ -I/ -isystem /g'`
  AC_SUBST([DOVECOT_CPPFLAGS])

  lmdb_save_CPPFLAGS=$CPPFLAGS
  CPPFLAGS="$CPPFLAGS $DOVECOT_CPPFLAGS -DHAVE_CONFIG_H"
  AC_MSG_CHECKING([for the headers of Dovecot 2.3.19 or later])
  AC_COMPILE_IFELSE([AC_LANG_SOURCE([[
    #undef PACKAGE_NAME
    #undef PACKAGE_TARNAME
    #undef PACKAGE_VERSION
    #undef PACKAGE_STRING
    #undef PACKAGE_BUGREPORT
    #undef PACKAGE_URL
    #include <config.h>
    #if DOVECOT_VERSION_MAJOR != 2 || DOVECOT_VERSION_MINOR < 3 || \
        (DOVECOT_VERSION_MINOR == 3 && DOVECOT_VERSION_MICRO < 19)
    #  error unsuitable
    #endif
    #include <lib.h>
    #include <mail-storage-private.h>
    int dovecot_is_suitable;
  ]])], [
    AC_MSG_RESULT([yes])
  ], [
    AC_MSG_RESULT([no])
    AC_MSG_ERROR([headers of Dovecot 2.3.19 or later not found: install Dovecot's development files (Debian: dovecot-dev)])
  ])
  lmdb_dovecot_version=`echo '#include <config.h>' | $CC -E -dM $CPPFLAGS - 2>/dev/null |
    $SED -n 's/^#define DOVECOT_VERSION "\(.*\)"/\1/p'`
  CPPFLAGS=$lmdb_save_CPPFLAGS
  AM_CONDITIONAL([DOVECOT_SETTINGS_MODULES], [case $lmdb_dovecot_version in 2.3.*) false ;; esac])
])

AC_DEFUN([LMDB_TRY_WARNING], [
  AC_MSG_CHECKING([whether $CC accepts $1])
  lmdb_save_CFLAGS=$CFLAGS
  CFLAGS="$CFLAGS -Werror $1"
  AC_COMPILE_IFELSE([AC_LANG_SOURCE([[int option_is_known;]])], [
    AC_MSG_RESULT([yes])
    WARN_CFLAGS="$WARN_CFLAGS $1"
  ], [
    AC_MSG_RESULT([no])
  ])
  CFLAGS=$lmdb_save_CFLAGS
])

AC_DEFUN([LMDB_WARNINGS], [
  AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [treat compiler warnings as errors])])
  m4_foreach_w([lmdb_option], [-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
    -Wmissing-declarations -Wold-style-definition -Wpointer-arith -Wwrite-strings -Wundef -Wformat=2
    -Wredundant-decls -Wlogical-op -Wduplicated-cond], [LMDB_TRY_WARNING(lmdb_option)])
  AS_IF([test "x$enable_werror" = xyes], [WARN_CFLAGS="$WARN_CFLAGS -Werror"])
  AC_SUBST([WARN_CFLAGS])
])

dnl Dovecot's programs can load such a plugin only with the sanitizer's library loaded before (tests/imap/run --under sanitizers).
AC_DEFUN([LMDB_SANITIZERS], [
  AC_ARG_ENABLE([sanitizers], [AS_HELP_STRING([--enable-sanitizers],
    [build with the address and undefined-behaviour sanitizers, for tests only])])
  SANITIZER_CFLAGS=
  AS_IF([test "x$enable_sanitizers" = xyes], [
    SANITIZER_CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
    lmdb_save_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS $SANITIZER_CFLAGS"
    AC_LINK_IFELSE([AC_LANG_PROGRAM()], [], [AC_MSG_ERROR([$CC can't link with $SANITIZER_CFLAGS])])
    CFLAGS=$lmdb_save_CFLAGS
  ])
  AC_SUBST([SANITIZER_CFLAGS])
])
